from correlator.cli_online import ONLINE
import click
main = click.Group()
for c in ONLINE: main.add_command(c)
if __name__ == "__main__":
    main()
