FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=tmpfs,target=/t,size=64k --mount=type=bind,source=src,target=/b \
    --mount=type=cache,target=/var/cache/deep/er --mount=type=ssh \
    touch /var/cache/deep/er/f && ls /b > /list && echo "[$SSH_AUTH_SOCK]" > /socket; \
    dd if=/dev/zero of=/t/x bs=1k count=128 2> /dev/null || echo full > /full
RUN ls -d /t /b /var/cache/deep/er > /dirs 2> /dev/null || true
