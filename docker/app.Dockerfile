# The portal's images, one stage each: web (pages, REST, beat), console (the proxy), worker (the ones that speak to
# hypervisors), host (a compute host in a container, for trying things out). Built by docker-compose.yml.

FROM debian:13-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv python3-dev gcc libc6-dev pkgconf libvirt-dev npm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/guesthouse
COPY requirements.lock .python-version ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv \
 && /opt/uv/bin/uv venv --python /usr/bin/python3 .venv \
 && /opt/uv/bin/uv pip sync --no-cache --compile-bytecode --python .venv/bin/python requirements.lock
COPY package.json package-lock.json .npmrc ./
COPY bin/assets bin/assets
COPY static/glyphs static/glyphs
RUN .venv/bin/python bin/assets && rm -rf node_modules
COPY . .
RUN .venv/bin/python -m compileall -q portal tenants operations vms billing

FROM debian:13-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates openssl python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10000 --create-home guesthouse
WORKDIR /opt/guesthouse
ENV PATH=/opt/guesthouse/.venv/bin:$PATH PYTHONPATH=/opt/guesthouse/bin/lib PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2

FROM base AS web
COPY --from=build /opt/guesthouse /opt/guesthouse
USER guesthouse

FROM base AS console
COPY --from=build /opt/guesthouse /opt/guesthouse

FROM base AS worker
RUN apt-get update \
 && apt-get install -y --no-install-recommends libvirt0 libvirt-clients qemu-utils genisoimage openssh-client \
    mmdebstrap debian-archive-keyring busybox-static lz4 zstd xz-utils cpio kmod mtools dosfstools fdisk e2fsprogs \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/guesthouse /opt/guesthouse

FROM debian:13-slim AS host
RUN apt-get update \
 && apt-get install -y --no-install-recommends libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf swtpm \
    swtpm-tools dnsmasq-base iproute2 iptables nftables \
 && rm -rf /var/lib/apt/lists/*
COPY docker/host.sh /usr/local/bin/guesthouse-host
CMD ["guesthouse-host"]
