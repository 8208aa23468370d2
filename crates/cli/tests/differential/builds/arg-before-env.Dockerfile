FROM scratch AS busybox
COPY rootfs /
FROM busybox
ARG NAME=argument
RUN echo $NAME > /argument
ENV NAME=${NAME}-kept
RUN echo $NAME > /environment
ARG NAME=again
COPY config.yaml /$NAME
# case: build-arg=NAME=given
