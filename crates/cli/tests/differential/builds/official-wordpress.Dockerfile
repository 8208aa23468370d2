FROM scratch AS busybox
COPY rootfs /
FROM busybox
VOLUME /var/www/html
RUN set -ex; mkdir -p /usr/src/wordpress/wp-content; \
	echo '# BEGIN' > /usr/src/wordpress/.htaccess; \
	chown -R builder:builder /usr/src/wordpress; \
	for dir in themes plugins cache; do mkdir -p /usr/src/wordpress/wp-content/$dir; done; \
	chmod -R 1777 /usr/src/wordpress/wp-content
COPY --chown=builder:builder app/main.py /usr/src/wordpress/wp-config-docker.php
COPY app/entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
CMD ["apache2-foreground"]
