FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN echo one && \
    echo two && \
    false && \
    echo three
