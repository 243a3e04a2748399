"""Pages of an account that are ours; mounted before the accounts library's, of which three are wrapped."""

from __future__ import annotations

from django.urls import path

from tenants.views import account, sign_in

app_name = "account"
urlpatterns = [
    path("profile/", account.profile, name="profile"),
    path("sessions/", account.sign_ins, name="sign_ins"),
    path("sessions/<int:session_id>/end/", account.sign_in_end, name="sign_in_end"),
    path("sign-on/", sign_in.sign_on, name="sign_on"),
    path("sign-on/<slug:provider_id>/", sign_in.sign_on_begin, name="sign_on_begin"),
    path("oidc/<slug:provider_id>/login/", sign_in.sign_on_again, name="sign_on_again"),
    path("2fa/webauthn/login/", sign_in.passkey_sign_in, name="passkey_sign_in"),
]
