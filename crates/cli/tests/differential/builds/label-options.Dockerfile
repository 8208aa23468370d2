FROM scratch
COPY config.yaml /
LABEL a=file b=file
# case: label=b=option
# case: label=c=with space
