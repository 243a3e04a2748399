#!/bin/bash
# Stands in for tc(8) inside lab hosts on kernels without sch_sfq, act_police and cls_fw, which libvirt's <bandwidth>
# needs. Only on request (Lab(tc_shim=True)): what a host cannot enforce must show by default.
#
#   sfq leaf        -> pfifo leaf                (no fairness between flows, the same rate)
#   police ingress  -> redirect to an ifb with a tbf of the same rate
#   fw filter       -> nothing                   (libvirt uses it for network-wide guarantees only)
#
# Anything else goes to the real tc unchanged.
real=/run/tc.real
args=" $* "
word_after() { sed -n "s/.* $1 \([^ ]*\) .*/\1/p" <<<"$args"; }

case $args in
*" sfq "*)
  # shellcheck disable=SC2086  # the words of a tc command are to be split again
  exec "$real" ${args/ sfq perturb 10/ pfifo limit 100}
  ;;
*" fw "*)
  exit 0
  ;;
*" police rate "*)
  dev=$(word_after dev) rate=$(word_after rate) burst=$(word_after burst)
  ifb=ifb-$dev
  ip link add "$ifb" type ifb 2>/dev/null
  ip link set "$ifb" up
  "$real" qdisc replace dev "$ifb" root tbf rate "$rate" burst "$burst" latency 100ms || exit
  exec "$real" filter add dev "$dev" parent ffff: protocol all u32 match u32 0 0 \
    action mirred egress redirect dev "$ifb"
  ;;
*" qdisc del dev "*" ingress "*)
  ip link del "ifb-$(word_after dev)" 2>/dev/null
  exec "$real" "$@"
  ;;
*)
  exec "$real" "$@"
  ;;
esac
