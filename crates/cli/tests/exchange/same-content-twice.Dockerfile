FROM scratch AS busybox
COPY rootfs /
FROM busybox AS one
RUN echo same > /f
FROM busybox AS two
RUN printf 'same\n' > /f
FROM busybox
COPY --from=one /f /one
COPY --from=two /f /two
