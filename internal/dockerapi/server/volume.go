package server

var volumeRoutes = []route{}
