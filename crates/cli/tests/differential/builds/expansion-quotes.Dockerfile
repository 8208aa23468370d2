FROM scratch
ENV V=value
ENV A="$V" B='$V' C=\$V D="\$V" E="a 'b' \"c\"" F='a "b"' G=a\ b H="a\\b" I=${V}s J=$V-$V K="" L=''
LABEL A="$V" B='$V' "with $V"=x
COPY ["config.yaml", "/quo ted/"]
