FROM scratch
WORKDIR --flag=x /a
