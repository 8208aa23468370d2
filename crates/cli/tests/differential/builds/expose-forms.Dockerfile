FROM scratch
COPY config.yaml /
ARG PORT=8080
EXPOSE 80 443/tcp 53/udp 9000-9003 132/sctp ${PORT} $PORT/udp 7000-7001/udp
