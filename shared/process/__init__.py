"""What every process of a service needs: settings and a command line."""
