FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN mkdir -p /d/e && touch /d/e/f /d/g
RUN rm -r /d/e
RUN rm -r /d && mkdir /d && touch /d/new
