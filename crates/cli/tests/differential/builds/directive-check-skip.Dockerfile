# check=skip=JSONArgsRecommended,MaintainerDeprecated
FROM scratch AS Skipped
COPY config.yaml /
MAINTAINER someone
CMD run it
