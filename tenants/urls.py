"""Pages about tenants; mounted at the root, since the first of them comes before any tenant."""

from __future__ import annotations

from django.urls import path

from tenants.views import (
    audit,
    home,
    invitations,
    members,
    notices,
    quota,
    roles,
    second_factor,
    settings,
    tokens,
    visits,
)

app_name = "tenants"
urlpatterns = [
    path("", home.home, name="home"),
    path("account/invitation/<str:secret>/", invitations.invitation, name="invitation"),
    path("account/invitation/<str:secret>/decline/", invitations.invitation_no, name="invitation_decline"),
    path(
        "account/invitations/<uuid:invitation_id>/decline/", invitations.invitation_stay_out, name="invitation_stay_out"
    ),
    path("account/invitations/<uuid:invitation_id>/join/", invitations.invitation_join, name="invitation_join"),
    path("account/notices/", notices.notice_list, name="notice_list"),
    path("account/notices/bell/", notices.notice_bell, name="notice_bell"),
    path("account/notices/choices/", notices.notice_choices, name="notice_choices"),
    path("account/notices/read/", notices.notice_read_all, name="notice_read_all"),
    path("account/notices/<uuid:notice_id>/open/", notices.notice_open, name="notice_open"),
    path("t/<slug:tenant>/switch/", home.switch, name="switch"),
    path("t/<slug:tenant>/visit/", visits.visit, name="visit"),
    path("t/<slug:tenant>/visit/end/", visits.visit_end, name="visit_end"),
    path("t/<slug:tenant>/members/", members.member_list, name="member_list"),
    path("t/<slug:tenant>/members/<uuid:member_id>/role/", members.member_role, name="member_role"),
    path("t/<slug:tenant>/members/<uuid:member_id>/remove/", members.member_remove, name="member_remove"),
    path("t/<slug:tenant>/members/<uuid:member_id>/transfer/", members.member_transfer, name="member_transfer"),
    path("t/<slug:tenant>/invitations/", invitations.invitation_create, name="invitation_create"),
    path(
        "t/<slug:tenant>/invitations/<uuid:invitation_id>/resend/",
        invitations.invitation_again,
        name="invitation_resend",
    ),
    path(
        "t/<slug:tenant>/invitations/<uuid:invitation_id>/revoke/", invitations.invitation_end, name="invitation_revoke"
    ),
    path("t/<slug:tenant>/roles/", roles.role_list, name="role_list"),
    path("t/<slug:tenant>/roles/create/", roles.role_create, name="role_create"),
    path("t/<slug:tenant>/roles/<uuid:role_id>/", roles.role_edit, name="role_edit"),
    path("t/<slug:tenant>/roles/<uuid:role_id>/delete/", roles.role_delete, name="role_delete"),
    path("t/<slug:tenant>/tokens/", tokens.token_list, name="token_list"),
    path("t/<slug:tenant>/tokens/create/", tokens.token_create, name="token_create"),
    path("t/<slug:tenant>/tokens/<uuid:token_id>/rotate/", tokens.token_rotate, name="token_rotate"),
    path("t/<slug:tenant>/tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("t/<slug:tenant>/quota/", quota.quota, name="quota"),
    path("t/<slug:tenant>/quota/ask/", quota.quota_ask, name="quota_ask"),
    path("t/<slug:tenant>/quota/requests/<uuid:request_id>/withdraw/", quota.quota_withdraw, name="quota_withdraw"),
    path("t/<slug:tenant>/audit/", audit.audit_list, name="audit_list"),
    path("t/<slug:tenant>/audit/verify/", audit.audit_verify, name="audit_verify"),
    path("t/<slug:tenant>/audit/export/", audit.audit_export, name="audit_export"),
    path("t/<slug:tenant>/settings/", settings.settings, name="settings"),
    path("t/<slug:tenant>/settings/second-factor/", second_factor.second_factor, name="second_factor"),
    path("t/<slug:tenant>/settings/export/", settings.export, name="export"),
    path("t/<slug:tenant>/settings/close/", settings.close, name="close"),
    path("t/<slug:tenant>/settings/reopen/", settings.reopen, name="reopen"),
]
