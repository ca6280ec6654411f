# The agent's image: Debian, the stripped agent with the libraries it needs,
# and HAProxy's files to copy out. Nothing in it is written to at run time
# (--read-only works) and nothing in it compiles.
#
#   docker run --read-only --network host \
#       -v /etc/foundry-gateway:/etc/foundry-gateway:ro foundry-gateway
#   docker run --rm --entrypoint export-haproxy --user "$(id -u)" \
#       -v /etc/foundry-gateway:/etc/foundry-gateway:ro -v "$PWD/out:/out" \
#       foundry-gateway /out

ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install \
        --no-install-recommends gcc make libc6-dev pkg-config libev-dev \
        libcjson-dev libhiredis-dev libjwt-dev libssl-dev \
        libcurl4-openssl-dev libmicrohttpd-dev
WORKDIR /src
COPY Makefile ./
COPY spoa spoa
RUN make -j"$(nproc)" WERROR=1 build/foundry-spoa && \
    strip -o /foundry-spoa build/foundry-spoa
# The packages of the libraries it is linked to: their names carry versions
# that differ between Debian releases.
RUN ldd /foundry-spoa | awk '$2 == "=>" { sub(".*/", "", $3); print $3 }' | \
    sed 's|^|*/|' | xargs dpkg-query -S | cut -d: -f1 | sort -u \
    > /packages && cat /packages

FROM ${BASE}
COPY --from=build /packages /usr/share/foundry-gateway/packages
# Upgraded first: a base image is older than the fixes for its packages.
RUN apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy upgrade && \
    DEBIAN_FRONTEND=noninteractive apt-get -qy install \
        --no-install-recommends ca-certificates \
        $(cat /usr/share/foundry-gateway/packages) && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* && \
    useradd --uid 10001 --user-group --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin foundry
COPY --from=build /foundry-spoa /usr/bin/foundry-spoa
COPY haproxy-conf /usr/share/foundry-gateway/haproxy-conf
COPY lua /usr/share/foundry-gateway/lua
RUN ln -s /usr/share/foundry-gateway/haproxy-conf/export-haproxy \
        /usr/bin/export-haproxy
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["foundry-spoa", "healthcheck"]
ENTRYPOINT ["foundry-spoa"]
CMD ["run", "/etc/foundry-gateway/gateway.json"]
