"""Pages about tenants; mounted at the root, since the first of them comes before any tenant."""

from __future__ import annotations

from django.urls import path

from tenants import views

app_name = "tenants"
urlpatterns = [
    path("", views.home, name="home"),
    path("t/<slug:tenant>/members/", views.member_list, name="member_list"),
    path("t/<slug:tenant>/members/add/", views.member_add_post, name="member_add"),
    path("t/<slug:tenant>/members/<uuid:member_id>/role/", views.member_role, name="member_role"),
    path("t/<slug:tenant>/members/<uuid:member_id>/remove/", views.member_remove_post, name="member_remove"),
    path("t/<slug:tenant>/tokens/", views.token_list, name="token_list"),
    path("t/<slug:tenant>/tokens/create/", views.token_create, name="token_create"),
    path("t/<slug:tenant>/tokens/<uuid:token_id>/revoke/", views.token_revoke, name="token_revoke"),
    path("t/<slug:tenant>/quota/", views.quota, name="quota"),
    path("t/<slug:tenant>/audit/", views.audit_list, name="audit_list"),
    path("t/<slug:tenant>/settings/", views.settings, name="settings"),
]
