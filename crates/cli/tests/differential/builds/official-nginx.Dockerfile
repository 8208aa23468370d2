FROM scratch AS busybox
COPY rootfs /
FROM busybox
LABEL maintainer="NGINX Docker Maintainers <docker-maint@nginx.com>"
ENV NGINX_VERSION   1.99.0
ENV NJS_VERSION     0.9.9
ENV PKG_RELEASE     1~bookworm
RUN set -x \
# create nginx user/group first, to be consistent throughout docker variants
    && addgroup -S -g 101 nginx \
    && adduser -S -D -H -u 101 -h /var/cache/nginx -s /bin/false -G nginx -g nginx nginx \
    && mkdir -p /var/log/nginx /docker-entrypoint.d /etc/nginx/conf.d /usr/share/nginx/html \
# forward request and error logs to docker log collector
    && ln -sf /dev/stdout /var/log/nginx/access.log \
    && ln -sf /dev/stderr /var/log/nginx/error.log
COPY app/entrypoint.sh /
COPY app/conf.d/default.conf /docker-entrypoint.d/
COPY --chmod=755 app/bin/tool /docker-entrypoint.d/10-listen.sh
ENTRYPOINT ["/entrypoint.sh"]
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
