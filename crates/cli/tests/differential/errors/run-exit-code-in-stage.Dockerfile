FROM scratch AS busybox
COPY rootfs /
FROM busybox AS broken
RUN sh -c 'exit 7'
FROM busybox
COPY --from=broken /etc/passwd /copied
