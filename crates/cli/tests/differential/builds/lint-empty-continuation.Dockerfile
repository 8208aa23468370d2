FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN echo one \

    two > /words
ENV A=1 \

    B=2
