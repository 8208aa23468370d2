FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN mkdir -p /d /gone/sub /kept/sub /kinds/d; \
    touch /d/f /gone/sub/f /kept/a /kept/b /kept/sub/c /kinds/d/f /kinds/f; \
    echo x > /x; echo y > /y; ln -s f /kinds/l
RUN rm -r /gone /kept/a /bin/vi; ln -s busybox /bin/vi; \
    chmod 600 /x; chown 5:6 /y; chmod 700 /d; \
    rm -r /kinds/*; touch /kinds/d; mkdir /kinds/f /kinds/l; touch /kinds/l/x
RUN rm -r /kept; mkdir /kept; touch /kept/new; touch -d '2001-01-01 00:00:00' /x
