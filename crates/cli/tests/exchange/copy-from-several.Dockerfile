FROM scratch AS busybox
COPY rootfs /
FROM busybox AS a
RUN echo a > /a
FROM busybox AS b
RUN echo b > /b
FROM busybox AS c
COPY --from=a /a /
COPY --from=b /b /
RUN cat /a /b > /c
FROM scratch
COPY --from=c /c /
COPY --from=1 /a /a
