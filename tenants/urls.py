"""Pages about tenants; mounted at the root, since the first of them comes before any tenant."""

from __future__ import annotations

from django.urls import path

from tenants.views import audit, home, members, quota, settings, tokens

app_name = "tenants"
urlpatterns = [
    path("", home.home, name="home"),
    path("t/<slug:tenant>/members/", members.member_list, name="member_list"),
    path("t/<slug:tenant>/members/add/", members.member_add_post, name="member_add"),
    path("t/<slug:tenant>/members/<uuid:member_id>/role/", members.member_role, name="member_role"),
    path("t/<slug:tenant>/members/<uuid:member_id>/remove/", members.member_remove_post, name="member_remove"),
    path("t/<slug:tenant>/tokens/", tokens.token_list, name="token_list"),
    path("t/<slug:tenant>/tokens/create/", tokens.token_create, name="token_create"),
    path("t/<slug:tenant>/tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("t/<slug:tenant>/quota/", quota.quota, name="quota"),
    path("t/<slug:tenant>/audit/", audit.audit_list, name="audit_list"),
    path("t/<slug:tenant>/settings/", settings.settings, name="settings"),
]
