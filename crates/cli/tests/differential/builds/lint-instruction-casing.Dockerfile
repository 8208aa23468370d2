FROM scratch
copy config.yaml /
Env A=1
LABEL a=1
EXPOSE 80
