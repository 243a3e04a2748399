"""Pages of the product, below a tenant's address."""

from __future__ import annotations

from django.urls import path

from vms.views import (
    consoles,
    guest_create,
    guest_detail,
    guest_inside,
    guest_life,
    guest_list,
    guest_power,
    overview,
    stock,
)

ONE = "machines/<uuid:guest_id>"

app_name = "vms"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("machines/", guest_list.guest_list, name="guest_list"),
    path("machines/bulk/", guest_list.guest_bulk, name="guest_bulk"),
    path("machines/create/", guest_create.guest_create, name="guest_create"),
    path("machines/create/recap/", guest_create.guest_recap, name="guest_recap"),
    path(f"{ONE}/", guest_detail.guest_detail, name="guest_detail"),
    path(f"{ONE}/row/", guest_list.guest_row, name="guest_row"),
    path(f"{ONE}/menu/", guest_list.guest_menu, name="guest_menu"),
    path(f"{ONE}/header/", guest_detail.guest_header, name="guest_header"),
    path(f"{ONE}/power/<slug:action>/", guest_power.guest_power, name="guest_power"),
    path(f"{ONE}/rename/", guest_detail.guest_rename, name="guest_rename"),
    path(f"{ONE}/tags/", guest_detail.guest_tags, name="guest_tags"),
    path(f"{ONE}/protect/", guest_detail.guest_protect, name="guest_protect"),
    path(f"{ONE}/resize/", guest_life.guest_resize, name="guest_resize"),
    path(f"{ONE}/rebuild/", guest_life.guest_rebuild, name="guest_rebuild"),
    path(f"{ONE}/rescue/", guest_life.guest_rescue, name="guest_rescue"),
    path(f"{ONE}/unrescue/", guest_life.guest_unrescue, name="guest_unrescue"),
    path(f"{ONE}/look/<slug:what>/", guest_inside.guest_look, name="guest_look"),
    path(f"{ONE}/screen/", guest_inside.guest_screen, name="guest_screen"),
    path(f"{ONE}/password/", guest_inside.guest_password, name="guest_password"),
    path(f"{ONE}/keys/", guest_inside.guest_keys, name="guest_keys"),
    path(f"{ONE}/delete/", guest_power.guest_delete, name="guest_delete"),
    path(f"{ONE}/restore/", guest_power.guest_restore, name="guest_restore"),
    path(f"{ONE}/console/", consoles.console, name="console"),
    path(f"{ONE}/console/serial/", consoles.console_serial, name="console_serial"),
    path(f"{ONE}/console/ticket/", consoles.console_ticket, name="console_ticket"),
    path("volumes/", stock.volume_list, name="volume_list"),
    path("images/", stock.image_list, name="image_list"),
    path("networks/", stock.network_list, name="network_list"),
    path("networks/create/", stock.network_create, name="network_create"),
    path("networks/<uuid:network_id>/delete/", stock.network_delete, name="network_delete"),
    path("keys/", stock.key_list, name="key_list"),
    path("keys/create/", stock.key_create, name="key_create"),
    path("keys/<uuid:key_id>/delete/", stock.key_delete, name="key_delete"),
]
