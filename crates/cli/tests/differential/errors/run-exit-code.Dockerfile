FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN true
RUN echo before >&2; exit 42
