FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=bind,source=missing,target=/m true
