FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN touch /target
COPY src /target
# case: differs=error, BuildKit names the place on its disk
