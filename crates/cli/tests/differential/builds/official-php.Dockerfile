FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV PHPIZE_DEPS \
		autoconf \
		dpkg-dev \
		file
ENV PHP_INI_DIR /usr/local/etc/php
RUN set -eux; \
	mkdir -p "$PHP_INI_DIR/conf.d"; \
	[ ! -d /var/www/html ]; \
	mkdir -p /var/www/html; \
	chown builder:builder /var/www/html; \
	chmod 1777 /var/www/html
ENV PHP_CFLAGS="-fstack-protector-strong -fpic -fpie -O2 -D_LARGEFILE_SOURCE -D_FILE_OFFSET_BITS=64"
ENV PHP_CPPFLAGS="$PHP_CFLAGS"
ENV PHP_LDFLAGS="-Wl,-O1 -pie"
RUN echo "$PHPIZE_DEPS" | tr -s ' \t' '\n' > /deps
COPY --chmod=755 app/bin/tool app/entrypoint.sh /usr/local/bin/
# Override stop signal to stop process gracefully
STOPSIGNAL SIGQUIT
WORKDIR /var/www/html
ENTRYPOINT ["entrypoint.sh"]
EXPOSE 9000
CMD ["php-fpm"]
