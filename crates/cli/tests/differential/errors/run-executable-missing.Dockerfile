FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN ["/no/such/program"]
# case: differs=error, BuildKit does not name what is missing
