"""Pages about operations, below a tenant's address."""

from __future__ import annotations

from django.urls import path

from operations import views

app_name = "operations"
urlpatterns = [
    path("activity/", views.operation_list, name="operation_list"),
    path("activity/running/", views.running_pill, name="running_pill"),
    path("activity/<uuid:operation_id>/", views.operation_detail, name="operation_detail"),
    path("activity/<uuid:operation_id>/part/", views.operation_partial, name="operation_partial"),
    path("activity/<uuid:operation_id>/cancel/", views.operation_cancel, name="operation_cancel"),
]
