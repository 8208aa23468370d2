FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=from=UNKNOWN:STAGE,target=/m true
