FROM scratch
COPY config.yaml /
ENV A=b
LABEL c=d \
  e=f
