FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; addgroup --gid 11211 memcache; adduser -u 11211 -G memcache -D -H memcache
ENV MEMCACHED_VERSION 1.9.99
COPY app/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN ln -s usr/local/bin/docker-entrypoint.sh /entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
USER memcache
EXPOSE 11211
CMD ["memcached"]
