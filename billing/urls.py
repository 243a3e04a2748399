"""Pages about money, below a tenant's address."""

from __future__ import annotations

from django.urls import path

from billing.views import bills

app_name = "billing"
urlpatterns = [
    path("bill/", bills.bill, name="bill"),
    path("bill/<str:period>/", bills.bill_month, name="bill_month"),
    path("bill/<str:period>/lines.csv", bills.bill_csv, name="bill_csv"),
    path("bill/<str:period>/statement.pdf", bills.bill_pdf, name="bill_pdf"),
    path("bill/<str:period>/statement.json", bills.bill_json, name="bill_json"),
]
