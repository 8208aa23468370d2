FROM scratch AS busybox
COPY rootfs /
FROM busybox AS unused
RUN echo never > /never
FROM busybox AS test
RUN echo test > /test
FROM busybox
RUN echo used > /used
