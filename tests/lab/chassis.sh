#!/bin/bash
# A lab host's part of a fabric: Open vSwitch in user space and ovn-controller. Run inside the host by tests/lab/fabric.py.
#
#   chassis.sh up|switch|controller|leave NAME ADDRESS CENTRAL
#   chassis.sh meet NAME ADDRESS CENTRAL PHYSNET CIDR
set -eu
what=$1 name=$2 address=$3 central=$4
run=/run/openvswitch
certificates=/etc/libvirt/pki
mkdir -p $run /run/ovn

running() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop() {
  running "$1" || return 0
  kill -9 "$(cat "$1")"
  while running "$1"; do :; done
  rm -f "$1"
}

database() {
  running $run/ovsdb-server.pid && return 0
  [ -f $run/conf.db ] || ovsdb-tool create $run/conf.db /usr/share/openvswitch/vswitch.ovsschema
  ovsdb-server $run/conf.db --remote=punix:$run/db.sock --pidfile=$run/ovsdb-server.pid --unixctl=$run/ovsdb.ctl \
    --log-file=$run/ovsdb.log --no-chdir --detach
  ovs-vsctl --no-wait init
  ovs-vsctl --no-wait set open . external_ids:system-id="$name" external_ids:ovn-remote="ssl:$central:6642" \
    external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip="$address" \
    external_ids:ovn-bridge-datapath-type=netdev external_ids:ovn-remote-probe-interval=5000
}

switch() {
  running $run/ovs-vswitchd.pid && return 0
  # User space computes no checksums that a veth left undone: ping would work and TCP would not.
  ethtool -K mgmt0 tx off >/dev/null 2>&1 || :
  ovs-vswitchd unix:$run/db.sock --disable-system --pidfile=$run/ovs-vswitchd.pid --unixctl=$run/ovs-vswitchd.ctl \
    --log-file=$run/vswitchd.log --no-chdir --detach
  ovs-vsctl --may-exist add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure
  # Tunnels in user space find their way by a bridge: the uplink becomes its port, and its address moves there.
  ovs-vsctl --may-exist add-br br-phy -- set bridge br-phy datapath_type=netdev -- --may-exist add-port br-phy mgmt0
  ip addr flush dev mgmt0
  ip addr replace "$address/24" dev br-phy
  ip link set br-phy up
  ethtool -K br-phy tx off >/dev/null 2>&1 || :
}

controller() {
  running /run/ovn/ovn-controller.pid && return 0
  ovn-controller unix:$run/db.sock --pidfile=/run/ovn/ovn-controller.pid --log-file=/run/ovn/controller.log --no-chdir \
    --private-key=$certificates/server-key.pem --certificate=$certificates/server-cert.pem \
    --ca-cert=$certificates/ca-cert.pem --detach
}

meet() {
  ovs-vsctl --may-exist add-br br-ext -- set bridge br-ext datapath_type=netdev
  ovs-vsctl set open . external_ids:ovn-bridge-mappings="$1:br-ext"
  ip addr replace "$2" dev br-ext
  ip link set br-ext up
  ethtool -K br-ext tx off >/dev/null 2>&1 || :
}

# The host is as it was: one that stayed behind would drop the TCP of hosts that have been switched on since.
leave() {
  stop /run/ovn/ovn-controller.pid
  stop $run/ovs-vswitchd.pid
  stop $run/ovsdb-server.pid
  rm -rf $run /run/ovn
  for left in br-int br-phy br-ext ovs-netdev; do
    ip link delete "$left" 2>/dev/null || :
  done
  ip addr replace "$address/24" dev mgmt0
  ip link set mgmt0 up
}

case $what in
  leave) leave && exit 0 ;;
  up) ;;
  switch) stop $run/ovs-vswitchd.pid ;;
  controller) stop /run/ovn/ovn-controller.pid ;;
esac
database
switch
controller
[ "$what" != meet ] || meet "$5" "$6"
