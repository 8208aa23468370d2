FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV HTTPD_PREFIX /usr/local/apache2
ENV PATH $HTTPD_PREFIX/bin:$PATH
RUN mkdir -p "$HTTPD_PREFIX" \
	&& chown builder:builder "$HTTPD_PREFIX"
WORKDIR $HTTPD_PREFIX
ENV HTTPD_PATCHES="rewrite.patch 0011"
RUN set -eux; \
	mkdir bin conf; \
	echo 'Listen 80' > conf/httpd.conf; \
	sed -ri -e 's!^(Listen) 80$!\1 8080!g' conf/httpd.conf; \
	{ \
		echo '#!/bin/sh'; \
		echo 'rm -f '"$HTTPD_PREFIX"'/logs/httpd.pid'; \
	} > bin/httpd-foreground; \
	chmod +x bin/httpd-foreground
STOPSIGNAL SIGWINCH
EXPOSE 80
CMD ["httpd-foreground"]
