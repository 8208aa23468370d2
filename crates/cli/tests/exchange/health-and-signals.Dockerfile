FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN echo x > /x
HEALTHCHECK --interval=5s --retries=3 CMD cat /x
STOPSIGNAL SIGTERM
VOLUME /data
LABEL org.example.name="x y" other=z
