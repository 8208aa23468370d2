ARG BASE=busybox
ARG TAG
FROM scratch AS busybox
COPY rootfs /
FROM ${BASE}${TAG:+-$TAG} AS last
COPY config.yaml /
# case: build-arg=TAG=
