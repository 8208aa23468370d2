ARG BASE=busybox
FROM scratch AS busybox
COPY rootfs /
FROM ${BASE} AS one
ARG NAME=one
RUN echo $NAME > /name
FROM one AS two
ARG NAME=two
RUN echo $NAME > /other
