FROM scratch AS busybox
COPY rootfs /
FROM busybox
# add our user and group first to make sure their IDs get assigned consistently
RUN set -eux; \
	addgroup -S -g 1999 redis; \
	adduser -S -G redis -u 1999 redis
ENV REDIS_VERSION 9.9.9
ENV REDIS_DOWNLOAD_SHA 00112233
RUN set -eux; \
	mkdir -p /usr/src/redis /usr/local/bin; \
	echo "protected-mode yes" > /usr/src/redis/config.c; \
	grep -E '^protected-mode +yes$' /usr/src/redis/config.c; \
	sed -ri 's!^(protected-mode +)yes$!\1no!' /usr/src/redis/config.c; \
	grep -E '^protected-mode +no$' /usr/src/redis/config.c; \
	cp /usr/src/redis/config.c /usr/local/bin/redis-server; \
	for link in cli benchmark check-aof; do ln -s redis-server /usr/local/bin/redis-$link; done; \
	rm -r /usr/src/redis
RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
COPY app/entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
EXPOSE 6379
CMD ["redis-server"]
