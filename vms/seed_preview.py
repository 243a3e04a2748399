"""Before a machine is made: what it will be told, and what in its user-data looks like a slip. Pure; refuses nothing."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

import yaml
from django.utils.translation import gettext as _

from vms.cloudinit import InvalidSeed, Seed, seed_files
from vms.specs import GuestSpec

_KEYS: Final = """
allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update apt_upgrade authkey_hash
autoinstall bootcmd byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules cloud_final_modules
cloud_init_modules create_hostname_file datasource datasource_list debug device_aliases disable_root disable_root_opts
disk_setup drivers fan final_message fqdn fs_setup groups growpart grub-dpkg grub_dpkg hostname keyboard landscape
launch-index locale locale_configfile lxd manage_etc_hosts manage_resolv_conf mcollective merge_how merge_type migrate
mount_default_fields mounts network no_ssh_fingerprints ntp output package_reboot_if_required package_update
package_upgrade packages password phone_home power_state prefer_fqdn_over_hostname preserve_hostname puppet
random_seed reporting resize_rootfs resolv_conf rh_subscription rsyslog runcmd salt_minion snap spacewalk ssh
ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id ssh_key_console_blacklist
ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen swap system_info timezone ubuntu_advantage ubuntu_pro
updates user users vendor_data version wireguard write_files yum_repo_dir yum_repos zypper
"""
KEYS: Final = frozenset(_KEYS.split())
"""First words of a cloud-config that something reads (https://cloudinit.readthedocs.io/en/latest/reference/modules.html)."""
PLAIN_PASSWORD: Final = re.compile(r"^\s*(?:-\s*)?(?:password|plain_text_passwd)\s*:\s*\S", re.MULTILINE)
HIDDEN: Final = "********"
ITS_ID: Final = "the-id-of-the-machine"


@dataclass(frozen=True, slots=True)
class Preview:
    """``files`` of the seed by name, without the password; ``advice`` in sentences, with the line where there is one."""

    files: dict[str, str]
    advice: tuple[str, ...]


def seed_preview(spec: GuestSpec) -> Preview:
    """What a machine of ``spec`` would be told. Of a seed that is refused there are no files: the refusal says why."""
    keys = (*(key.public_key for key in spec.ssh_keys), *spec.inline_keys)
    seed = Seed(
        instance_id=ITS_ID,
        hostname=spec.names()[0],
        ssh_keys=keys,
        user_data=spec.user_data,
        for_windows=spec.image.is_windows,
    )
    try:
        files = {name: content.decode() for name, content in seed_files(seed).items()}
    except InvalidSeed:
        return Preview({}, ())
    if spec.password:
        files["vendor-data"] = f"#cloud-config\npassword: {HIDDEN}\nssh_pwauth: true\n"
    return Preview(files, tuple(user_data_advice(spec.user_data)))


def user_data_advice(text: str) -> list[str]:
    """What is allowed and probably not meant; of text that ``check_user_data`` takes."""
    first = text.split("\n", 1)[0]
    if first.startswith("#!"):
        return [] if first[2:].strip().startswith("/") else [_("Line 1: #! is followed by the path of a program.")]
    if not first.startswith("#cloud-config") or first.startswith("#cloud-config-archive"):
        return []
    advice = []
    if first.rstrip() != "#cloud-config":
        advice.append(_("Line 1: cloud-init looks for exactly #cloud-config, and ignores the rest otherwise."))
    advice += [_slip(key, line) for key, line in _top_keys(text) if key not in KEYS]
    if PLAIN_PASSWORD.search(text):
        advice.append(_("A password stands in it as it is: whoever reads the machine's user-data inside it reads it."))
    return advice


def _top_keys(text: str) -> list[tuple[str, int]]:
    """The names at the top of a cloud-config, with their lines."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(str(key.value), key.start_mark.line + 1) for key, _value in node.value]


def _slip(key: str, line: int) -> str:
    near = difflib.get_close_matches(key[:40], KEYS, n=1)
    if near:
        return _("Line %(line)d: nothing reads %(key)s. Is %(near)s meant?") % {
            "line": line, "key": key[:40], "near": near[0],
        }  # fmt: skip
    return _("Line %(line)d: nothing in cloud-init reads %(key)s.") % {"line": line, "key": key[:40]}
