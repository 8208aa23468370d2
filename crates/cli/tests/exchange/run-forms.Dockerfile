FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN ["touch", "/exec form"]
RUN touch /shell\ form && \
    # a comment in between
    touch /continued
SHELL ["/bin/sh", "-e", "-c"]
RUN false || touch /with-shell
