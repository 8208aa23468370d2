FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; addgroup -S -g 1998 mysql && adduser -S -u 1998 -G mysql -D -H mysql
ARG MYSQL_MAJOR=innovation
ENV MYSQL_MAJOR $MYSQL_MAJOR
ENV MYSQL_VERSION 9.9.0-1.el9
RUN set -eu; \
    { \
        echo '[mysqld]'; \
        echo 'skip-host-cache'; \
        echo "version = $MYSQL_VERSION"; \
        echo '!includedir /etc/mysql/conf.d/'; \
    } | tee /etc/my.cnf; \
    mkdir -p /etc/mysql/conf.d /var/lib/mysql /var/run/mysqld; \
    chown mysql:mysql /var/lib/mysql /var/run/mysqld; \
    chmod 1777 /var/lib/mysql /var/run/mysqld
VOLUME /var/lib/mysql
COPY app/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN ln -s usr/local/bin/docker-entrypoint.sh /entrypoint.sh # backwards compat
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 3306 33060
CMD ["mysqld"]
