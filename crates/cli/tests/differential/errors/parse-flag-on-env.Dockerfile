FROM scratch
ENV --flag=x A=1
