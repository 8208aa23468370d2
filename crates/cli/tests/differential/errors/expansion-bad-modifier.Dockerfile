FROM scratch
ENV A=a
COPY config.yaml /${A:}/
