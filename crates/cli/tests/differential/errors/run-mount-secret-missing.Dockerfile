FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=secret,id=absent,required cat /run/secrets/absent
