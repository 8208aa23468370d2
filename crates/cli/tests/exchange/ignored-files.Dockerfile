FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY notes /notes/
RUN ls -A /notes > /list
