FROM scratch AS busybox
COPY rootfs /
FROM busybox AS s1
RUN echo 1 > /1
FROM s1 AS s2
RUN echo 2 > /2
FROM s2 AS s3
RUN echo 3 > /3
FROM s3 AS s4
RUN rm /1 && echo 4 > /4
FROM s4
COPY --from=s1 /1 /again
