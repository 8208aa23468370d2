ARG VERSION=3
FROM scratch AS busybox
COPY rootfs /
FROM busybox
ARG VERSION
ARG EXTRA=none
ARG ONLY_NAMED
RUN echo "$VERSION $EXTRA ${ONLY_NAMED:-unset}" > /versions
