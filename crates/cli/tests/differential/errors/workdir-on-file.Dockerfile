FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN touch /file
WORKDIR /file
RUN pwd
